"""CheXNet (Rajpurkar et al. 2017, arXiv:1711.05225): DenseNet-121 with one sigmoid per finding, in both frameworks."""
