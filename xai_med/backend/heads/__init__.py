"""What stands between the features and the logits."""
