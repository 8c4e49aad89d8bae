"""CPU operators of this project: C++ sources, their builder, and MindSpore cells around them."""
