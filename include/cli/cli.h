/* SPDX-License-Identifier: MIT */
#ifndef CLI_CLI_H
#define CLI_CLI_H

/* The program: parses the command line, runs the subcommand, returns the exit code of the interface. */
int cli_main(int argc, char **argv);

#endif
