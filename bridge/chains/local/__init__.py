"""What local chains are built on: processes and servers that end with the process that started them."""
