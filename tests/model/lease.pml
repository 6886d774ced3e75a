/* SPDX-License-Identifier: MIT */
/*
 * Two agents and one lease in discrete time, as lease.c keeps it: requests begin at one time, arrive at a later one and are answered
 * later still, or their answer is lost; whoever holds it may hand it over. Time may pass before every step, and without end: clocks
 * are counters that stop at the last value that matters. What is claimed: never two who act, as long as their clocks run equally fast.
 *
 *   (nothing)        as lease.c does                                                     holds
 *   -DFROM_ANSWER    a holder counts from the answer to its renewal, not from the request violated
 *   -DFROM_ANY       so does one that finds in the record what was never answered         violated
 *   -DNO_COUNTER     a record is known by its nonce alone, not by the counter of what was sent last   violated
 *   -DEXTENDS        one of ours that is not the last that was sent counts as that         violated
 *   -DEARLY          others wait less than the half ttl that a holder acts                violated
 *   -DGIVE_LATE      it is handed over while its holder still acts                        violated
 *   -DUNCONDITIONAL  it is taken whatever became of it since it was looked at             violated
 */
#define HOLDS 2
#ifdef EARLY
#define EXPIRES 1
#else
#define EXPIRES 3                 /* more than HOLDS is what it takes */
#endif
#define NOBODY 2

byte owner = NOBODY;              /* the record: who holds it; NOBODY: handed over */
bool newest[2] = true;            /* the revision that the agent knows is the record's */
bool written[2];                  /* the record is the one that it sent last */
bool mine[2];
byte acts[2];                     /* how long it still may */
byte same[2];                     /* how long the record has been what it knows; EXPIRES: for that long, or longer */
byte ago[2] = HOLDS;              /* since its last swap began; HOLDS: or longer */

#define ACTS(i) (mine[i] && acts[i] > 0)
#define ONE     assert(!(ACTS(0) && ACTS(1)))
#define ME      (_pid - 1)
#define OTHER   (2 - _pid)

inline tick(i)
{
	if
	:: acts[i] > 0 -> acts[i]--
	:: else -> skip
	fi;
	if
	:: same[i] < EXPIRES -> same[i]++
	:: else -> skip
	fi;
	if
	:: ago[i] < HOLDS -> ago[i]++
	:: else -> skip
	fi
}

/* A swap arrives, on the condition of the revision that was known when it was sent. */
inline swap(who)
{
#ifdef UNCONDITIONAL
	ok = true;
#else
	ok = newest[ME];
#endif
	if
	:: ok -> owner = who; newest[ME] = false; newest[OTHER] = false; written[ME] = true; written[OTHER] = false
	:: else -> skip
	fi
}

/* Its answer: the record that was sent is known to be there. It may have been followed by another since. */
inline answered(who)
{
	if
	:: ok ->
		newest[ME] = written[ME];
		same[ME] = 0;
		mine[ME] = who == ME;
#ifdef FROM_ANSWER
		acts[ME] = HOLDS;
#else
		acts[ME] = HOLDS - ago[ME];
#endif
		ok = false;
		ONE
	:: else -> skip
	fi
}

inline take_or_renew()
{
#ifdef NO_COUNTER
	ago[ME] = 0;
#else
	atomic { ago[ME] = 0; written[ME] = false };
#endif
	atomic { swap(ME) };
	if
	:: atomic { answered(ME) }
	:: atomic { ok = false }          /* lost: the next look tells */
	fi
}

inline look()
{
	waited = same[ME];
	atomic { knew = newest[ME]; ours = written[ME] && owner == ME; who = owner; newest[ME] = true };
	atomic {
		if
		:: ours ->
			/* what was read may be history by the time that it is here; then the next swap finds out */
			mine[ME] = true;
#ifdef FROM_ANY
			acts[ME] = HOLDS;
#else
			acts[ME] = HOLDS - ago[ME];
#endif
			ONE
		:: !ours && who == ME && mine[ME] ->
			/* one of ours, but not the last that was sent: it is kept, and holds no longer than it did */
			same[ME] = 0; waited = 0;
#ifdef EXTENDS
			acts[ME] = HOLDS - ago[ME];
#endif
			ONE
		:: !ours && !(who == ME && mine[ME]) && !knew -> same[ME] = 0; mine[ME] = false; waited = 0
		:: !ours && !(who == ME && mine[ME]) && knew -> mine[ME] = false
		fi;
		ours = false; knew = false
	}
}

active proctype clock()
{
	do
	:: atomic { tick(0); tick(1); ONE }
	od
}

active [2] proctype agent()
{
	byte waited, who;
	bool ok, knew, ours;

	do
	:: mine[ME] -> take_or_renew()
	:: mine[ME] ->
#ifndef GIVE_LATE
		mine[ME] = false;
#endif
		atomic { swap(NOBODY) };
		atomic { mine[ME] = false; answered(NOBODY) }
	:: look();
		if
		:: atomic { !mine[ME] && (who == NOBODY || who == ME || waited >= EXPIRES) -> waited = 0; who = 0 }; take_or_renew()
		:: atomic { else -> waited = 0; who = 0 }
		fi
	od
}
