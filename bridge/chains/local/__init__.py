"""What local chains are built on: child processes and servers that cannot outlive whoever started them."""
