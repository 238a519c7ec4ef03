"""What one store promises beyond the contract that all of them share."""
