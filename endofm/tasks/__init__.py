"""Task heads: pure networks on top of the encoder, without files, videos or configuration of a run."""
