"""One trunk with many heads, each written the same in every framework, and what each means in NumPy."""
