"""What `train` is made of: the recipe, the loop, the losses, what is chosen by the validation part."""
