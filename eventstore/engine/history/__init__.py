"""`order_history`: every state of each order, when it was so and from when to when we knew it so."""
