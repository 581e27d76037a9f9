"""From a stream of frames to features: windows, decoding ahead, batches, the feature object, job folders."""
