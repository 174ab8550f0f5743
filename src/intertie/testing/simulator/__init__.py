"""The federation simulator: real agents, a simulated world, one seed.

    story      what users do and what breaks, as a list of steps       (data)
    workload   seed and profile → story                                (pure)
    play       story → what happened                                   (a `World` in virtual time)
    watch      what can be seen from outside while a story is played   (the oracle's senses)
    oracle     which invariant was broken, judged from outside alone
    shrink     a failing story → the shortest one that still fails
    diagram    what happened, as a sequence diagram
    plants     protocol bugs that can be switched on, to test the tester
    main       `intertie-sim`

Nothing here draws a number, looks at a clock or reads a set in an order that the seed does not decide.
"""
