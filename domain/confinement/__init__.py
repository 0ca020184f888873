"""What a container may not do: users, capabilities, system calls, masks. All of it pure."""
