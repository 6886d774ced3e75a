/* SPDX-License-Identifier: MIT */
/*
 * One write whose answer may be lost, or which may arrive only when its sender has long gone on; meanwhile terraform writes to the same
 * place. What is claimed: nothing that is newer is ever overwritten, and whoever is told that it is done can rely on it.
 *
 *   (nothing)      no answer: read back; ours is there, or the write is planned anew from what was read    holds
 *   -DBLIND        no answer: the same bytes again, on whatever is there now                                violated
 *   -DSETTLE_EARLY no answer, and nothing there: taken for "it did not happen", another may write unconditionally
 *                  because of it                                                                           violated
 */
#define OURS 2                    /* serial; what is newer is terraform's */
#define NEWEST 3

byte target = 1, tag;
byte highest = 1;
chan net = [2] of { byte, byte }; /* on its way: serial, condition */
bool told_done, told_not;

inline store(serial)
{
	target = serial;
	tag++;
	assert(target >= highest);
	highest = target
}

/* A network that delivers whenever it likes. */
active proctype network()
{
	byte serial, when;

	do
	:: atomic {
		net ? serial, when ->
			if
			:: when == tag -> store(serial)
			:: else -> skip
			fi
	}
	:: timeout -> break
	od
}

active proctype terraform()
{
	do
	:: target < NEWEST -> atomic { if :: target < NEWEST -> store(target + 1) :: else -> skip fi }
	:: break
	od
}

active proctype writer()
{
	byte there, when, tries;

	do
	:: tries < 3 ->
		tries++;
		atomic { there = target; when = tag };
		if
		:: there > OURS -> break                          /* somebody is ahead: held */
		:: there == OURS -> told_done = true; break
		:: else ->
			if
			:: atomic { when == tag -> store(OURS) }; told_done = true; break     /* answered */
			:: net ! OURS, when                       /* no answer, and it may still arrive */
			fi;
#ifdef BLIND
			when = tag;
			net ! OURS, when;
			break
#endif
#ifdef SETTLE_EARLY
			if
			:: target != OURS -> told_not = true; break
			:: else -> skip
			fi
#endif
		fi
	:: else -> break
	od
	assert(!told_done || highest >= OURS);
	assert(!told_not || len(net) == 0)                        /* "it did not happen" is said of nothing that may still happen */
}
