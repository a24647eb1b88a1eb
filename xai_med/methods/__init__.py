"""The methods: one file each, none knows a framework. The visible table of built-in names is in `table`."""
