"""How good: metrics with intervals, k-NN, probes and prototypes on features, reports and pictures. Extra ``train``."""
