"""Learning: bundles, runtimes, networks, data, training and judgement."""
