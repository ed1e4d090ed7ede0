package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/exports"
	"github.com/sidusboot/sidusboot/treecheck"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check TREE",
		Short: "Find what will go wrong on nodes that boot a tree",
		Long: `Examine the tree TREE and print what will go wrong on nodes that boot it, and what to
do: no program to start, no modules for a kernel, an image older than its kernel,
file capabilities that NFS does not carry, whiteouts, files that every node should
have of its own (ssh host keys, random seed), lines of fstab about disks, files that
everybody may write, and how the kernel's NFS server exports the tree.

The exit status is 1 if no node could boot the tree.`,
		Example: `  sidustree check /srv/nfsroot/sidus/staging
  sidustree check --json /srv/nfsroot/sidus/current/`,
		Args: command.Arguments(1, "TREE"), ValidArgsFunction: directory,
		RunE: func(cmd *cobra.Command, args []string) error {
			// A link to the tree, such as current, is meant too.
			dir, err := filepath.EvalSymlinks(args[0])
			if err != nil {
				return err
			}
			findings, err := treecheck.Check(cmd.Context(), dir, treecheck.Options{Exports: exports.Default()})
			if err != nil {
				return err
			}
			if findings == nil {
				findings = []treecheck.Finding{}
			}
			err = command.Print(cmd, findings, func(w io.Writer) {
				printFindings(w, findings, treecheck.Note)
				fmt.Fprintf(w, "%d findings\n", len(findings))
			})
			return errors.Join(err, treecheck.FatalFindings(findings))
		},
	}
}

// printFindings writes those that are at least as bad as least.
func printFindings(w io.Writer, findings []treecheck.Finding, least treecheck.Severity) {
	for _, f := range findings {
		if f.Severity == treecheck.Note && least != treecheck.Note {
			continue
		}
		fmt.Fprintf(w, "%s: %s: %s\n", f.Severity, f.Problem, f.Remedy)
		for _, path := range f.Paths {
			fmt.Fprintf(w, "  %s\n", command.Printable(path))
		}
		if more := f.Count - len(f.Paths); more > 0 {
			fmt.Fprintf(w, "  and %d more\n", more)
		}
	}
}
