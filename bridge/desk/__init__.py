"""What sells swaps: quotes, prices, inventory, orders, assisted claims."""
