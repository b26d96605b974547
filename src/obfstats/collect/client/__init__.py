"""What a bridge runs: makes keys, signs documents, keeps them until a collector has them."""
