"""What is left of a run: tables, figures, a folder of both, and the page that shows them."""
