package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/treecheck"
	"github.com/sidusboot/sidusboot/versions"
	"github.com/sidusboot/sidusboot/versions/layout"
)

func initCommand() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "init BASE",
		Short: "Make a base",
		Long: `Make a base in the directory BASE, which must be empty or not exist.

--from copies a tree into its staging; without it staging is empty, and you put
a tree there yourself, for example with mmdebstrap. Nothing may be mounted inside
the tree that is copied.`,
		Example: `  sidustree init /srv/nfsroot/sidus
  mmdebstrap --include=linux-image-amd64 bookworm /srv/nfsroot/sidus/staging

  sidustree init /srv/nfsroot/sidus --from /srv/nfsroot/old`,
		Args: command.Arguments(1, "BASE"), ValidArgsFunction: directory,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := versions.Init(cmd.Context(), args[0], from, nil); err != nil {
				return err
			}
			return command.Print(cmd, map[string]string{"base": args[0]}, func(w io.Writer) {
				fmt.Fprintf(w, "%s is a base. Change the tree in %s/%s, then run: sidustree publish %s\n", args[0], args[0], layout.Staging, args[0])
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the `TREE` to copy into staging")
	return cmd
}

func publishCommand() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use:   "publish BASE",
		Short: "Make a version of staging, which nodes boot next",
		Long: `Make a version of staging, and make it current.

Files that did not change since the current version become hard links to it: the
content of files of the same size and time is compared. The others are clones of
those in staging if the file system supports that (btrfs, XFS), else copies.
Staging does not change.

The version is on the disk before current leads to it. No package manager may run
in staging meanwhile: if a change is noticed, that is an error, and nothing is
published.

Staging is checked first, as sidustree check does: a tree that no node could boot is
not published; warnings are printed.`,
		Example: `  sidustree publish /srv/nfsroot/sidus
  sidustree publish /srv/nfsroot/sidus --id 2026-11-kernel`,
		Args: command.Arguments(1, "BASE"), ValidArgsFunction: directory,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBase(args[0], func(b *versions.Base) error {
				// Where it is not known, nothing is written down about it.
				usage, _ := versions.ReadUsage(b.Path(), serverSources(nil))
				note, err := b.Publish(cmd.Context(), versions.PublishOptions{ID: id, Now: time.Now(), Mounts: usage.Mounts, Check: func(tree string) error {
					findings, err := treecheck.Check(cmd.Context(), tree, treecheck.Options{})
					if err != nil {
						return err
					}
					printFindings(cmd.ErrOrStderr(), findings, treecheck.Warning)
					return treecheck.FatalFindings(findings)
				}})
				if err != nil {
					return err
				}
				return command.Print(cmd, note, func(w io.Writer) {
					s := note.Stats
					fmt.Fprintf(w, "version %s is current: %d files, %d linked, %d cloned, %d copied (%s)\n",
						note.ID, s.Files, s.Linked, s.Cloned, s.Copied, bytesText(s.Bytes))
				})
			})
		},
	}
	cmd.Flags().StringVar(&id, "id", "", "the version's `ID` (default: date and time)")
	return cmd
}

func rollbackCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rollback BASE [ID]",
		Short: "Make another version the one that nodes boot next",
		Long: `Make the version ID current; without ID, the version that was current before the
present one was published. Running nodes keep the version that they booted.`,
		Example: `  sidustree rollback /srv/nfsroot/sidus
  sidustree rollback /srv/nfsroot/sidus 20261101-090000`,
		Args: command.Arguments(1, "BASE", "ID"), ValidArgsFunction: baseAndIDs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id := ""
			if len(args) == 2 {
				id = args[1]
			}
			return withBase(args[0], func(b *versions.Base) error {
				from, to, err := b.Rollback(id)
				if err != nil {
					return err
				}
				return command.Print(cmd, map[string]string{"from": from, "to": to}, func(w io.Writer) {
					if from == to {
						fmt.Fprintf(w, "version %s is already current\n", to)
						return
					}
					fmt.Fprintf(w, "version %s is current, it was %s\n", to, from)
				})
			})
		},
	}
}
