"""Live trading: the same trader on a broker's clock, with a durable journal of what it was told and what it said."""
