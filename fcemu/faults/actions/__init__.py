"""What can go wrong: one file for each action, with its numbers.

action            what an action is, and what it acts on
failure           a documented failure that rules cause
registry          all actions by their keys
refuse            a request is refused
cold_start_delay  an instance takes longer to start
refuse_to_start   an instance does not start
cut               a connection breaks
close             a socket is closed with a code
idle              a NAT drops an idle connection
stall             a connection goes silent
delay             everything arrives later
bandwidth         little passes per second
crash             an instance is killed
"""
