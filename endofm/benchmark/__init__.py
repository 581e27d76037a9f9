"""How fast this is on the machine at hand: what ``endofm benchmark`` measures."""
