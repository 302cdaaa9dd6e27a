"""Tables of many runs: what is trained, the numbers side by side, and the claims about them."""
