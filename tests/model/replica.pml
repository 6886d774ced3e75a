/* SPDX-License-Identifier: MIT */
/*
 * Several agents replicate one state to one target while its source moves on. When an agent takes the lease to be free is left open,
 * so a lease may be believed in by two, or by none: it must not matter. What is claimed: the replica never goes back.
 *
 *   -DWRITE=0   an unconditional write, under the lease                            violated
 *   -DWRITE=1   on the condition of what was read, serials not compared            violated
 *   -DWRITE=2   the comparison made with another read than the condition's         violated
 *   -DWRITE=3   as push.c does: condition and comparison from one read             holds
 *   -DNOLEASE   the same without any lease                                         holds
 */
#ifndef WRITE
#define WRITE 3
#endif
#ifndef AGENTS
#define AGENTS 2
#endif
#define ROUNDS 3
#define NEWEST 3

byte source = 1;                  /* serial there */
byte replica, tag;                /* serial there, and the change tag */
byte highest;                     /* that it ever had */
byte revision;                    /* of the lease's record */

inline put(serial)
{
	replica = serial;
	tag++;
	assert(replica >= highest);
	highest = replica;
}

active proctype terraform()
{
	do
	:: source < NEWEST -> source++
	:: break
	od
}

active [AGENTS] proctype agent()
{
	byte rounds, mine, head, there, when;

	do
	:: rounds < ROUNDS ->
		rounds++;
#ifndef NOLEASE
		mine = revision;          /* taken over, renewed, or handed over to us */
		atomic {
			if
			:: revision == mine -> revision++
			:: else -> mine = 255
			fi
		}
#endif
		if
		:: mine != 255 ->
			head = source;    /* pulled */
#if WRITE == 2
			there = replica;
			when = tag;
#else
			atomic { when = tag; there = replica }
#endif
			atomic {
				if
#if WRITE == 0
				:: true -> put(head)
#elif WRITE == 1
				:: when == tag -> put(head)
				:: else -> skip
#else
				:: head > there && when == tag -> put(head)
				:: else -> skip
#endif
				fi
			}
		:: else -> skip
		fi
	:: break
	od
}
