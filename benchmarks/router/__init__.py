"""What a router costs: a decision beside feature flags, a request beside a direct call, shadow, and memory."""
