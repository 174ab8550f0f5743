"""The demo: the product in small, on one machine, by any user.

    host namespaces            │  one user (if not root), mount, network and pid namespace
    ───────────────────────────┼──────────────────────────────────────────────────────────────
    run: lock, listening       │  inside: enters the namespaces, becomes their init
      sockets, story, table    │  supervisor: backbone router, agents, cuts, shells
    shell, ping, cut, kill … ──┼──► control socket (unix, 0600) of the supervisor
    curl, GUI, intertie ───────┼──► 127.0.0.1:7575+i, opened outside, inherited by the agents

Everything that lives inside dies with the namespace's init, so that nothing can be left behind.
"""
