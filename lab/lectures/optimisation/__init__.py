"""Training, and what goes wrong in it: vanishing gradients, initial weights, optimisers, regularisers."""
