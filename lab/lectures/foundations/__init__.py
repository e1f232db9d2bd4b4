"""What a neuron, a layer and a gradient are."""
