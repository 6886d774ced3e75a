# SPDX-License-Identifier: MIT
# bash completion for stateferry. Commands, options and their help come from the program itself, so that nothing is listed twice.

_stateferry_commands()
{
	stateferry help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p'
}

# Options of one command; their values are never guessed.
_stateferry_options()
{
	[ -z "$1" ] || stateferry help "$1" 2>/dev/null | sed -n 's/^  \(--[a-z-]*\).*/\1/p'
	printf '%s\n' --config --json --quiet --verbose --color --help
}

_stateferry()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd='' skip='' i

	for ((i = 1; i < COMP_CWORD; i++)); do
		if [ -n "$skip" ]; then
			skip=''
		elif [ "${COMP_WORDS[i]}" = -c ] || [ "${COMP_WORDS[i]}" = --config ]; then
			skip=1
		elif [ "${COMP_WORDS[i]#-}" = "${COMP_WORDS[i]}" ] && [ -z "$cmd" ]; then
			cmd=${COMP_WORDS[i]}
		fi
	done
	COMPREPLY=()
	case $prev in
	-c|--config|--out)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return ;;
	esac
	if [ "${cur#-}" != "$cur" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_stateferry_options "$cmd")" -- "$cur")
	elif [ -z "$cmd" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_stateferry_commands)" -- "$cur")
	else
		case $cmd in
		config) mapfile -t COMPREPLY < <(compgen -W 'check show' -- "$cur") ;;
		lease) mapfile -t COMPREPLY < <(compgen -W 'ls release' -- "$cur") ;;
		quarantine) mapfile -t COMPREPLY < <(compgen -W 'ls release drop' -- "$cur") ;;
		help) mapfile -t COMPREPLY < <(compgen -W "$(_stateferry_commands)" -- "$cur") ;;
		esac
	fi
}

complete -F _stateferry stateferry
