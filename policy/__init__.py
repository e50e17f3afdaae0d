"""The policy: text in, values out. Pure: nothing here touches a socket, a process or the kernel."""
