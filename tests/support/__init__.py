"""What tests share: small projects, repositories, results and strategies."""
