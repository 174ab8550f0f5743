"""The decisions, pure: no I/O, no clock, no chance. Records and facts go in; drafts, items and plans come out.

table     the standing records, indexed
ranges    cutting, giving and taking back address space
numbers   VNIs from the blocks that a site holds
trust     who is pinned, forgotten, mapped
admit     a member's judgement of a Vpn that names it
advertise what this site says next: answers, and the moves of the Vpns it is home to
compile   records → the items that this site must hold
diff      items wanted and seen → a Plan
status    phase, health and conditions, derived whenever somebody asks
"""
