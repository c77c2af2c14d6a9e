"""The regression suite: what an application depends on, asked of both models before any user meets the new one."""
