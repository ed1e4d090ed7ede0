package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/stamp"
	"github.com/sidusboot/sidusboot/versions/layout"
)

func touchCommand() *cobra.Command {
	var install, remove bool
	var keep string
	cmd := &cobra.Command{
		Use:   "touch TREE",
		Short: "Tell nodes that a tree was changed in place",
		Long: `Renew the stamp of the tree TREE, ` + layout.Stamp + `: by it a node that
runs this tree learns that the tree has changed.

This is for a tree that is changed while nodes run it. Versions of a base do not
change and need no stamp. docs/updates.md says what can fail on a node whose tree
changes.

--install-hook puts a hook for apt and dpkg into the tree. Before each run the
files that will be replaced or removed get a second name in ` + layout.Aside + `,
so that nodes that have them open can go on reading them; after each run the
stamp is renewed, and files that were set aside more than --keep ago are removed. It
needs only the tree's own programs. dpkg without apt sets files aside only if /proc
is mounted in the tree. --remove-hook removes the hook, but not the stamp and the
files that are set aside.

Without --install-hook and --remove-hook, files that were set aside long enough ago
are removed, too.`,
		Example: `  sidustree touch /srv/nfsroot/sidus
  sidustree touch /srv/nfsroot/sidus --install-hook --keep 14d
  sidustree touch /srv/nfsroot/sidus --remove-hook`,
		Args: command.Arguments(1, "TREE"), ValidArgsFunction: directory,
		RunE: func(cmd *cobra.Command, args []string) error {
			if install && remove {
				return command.Usagef("--install-hook and --remove-hook: give only one of them")
			}
			if cmd.Flags().Changed("keep") && !install {
				return command.Usagef("--keep needs --install-hook")
			}
			d, err := stamp.ParseKeep(keep)
			if err != nil {
				return command.Usagef("--keep: %w", err)
			}
			t, err := stamp.Open(args[0])
			if err != nil {
				return err
			}
			switch {
			case install:
				return installHook(cmd, t, d)
			case remove:
				return removeHook(cmd, t)
			}
			return renewStamp(cmd, t)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&install, "install-hook", false, "put the hook for apt and dpkg into the tree, or replace an older one")
	f.BoolVar(&remove, "remove-hook", false, "remove the hook")
	f.StringVar(&keep, "keep", "7d", "how long the hook keeps replaced files: `TIME` in days, hours or minutes (d, h, m)")
	return cmd
}

func renewStamp(cmd *cobra.Command, t stamp.Tree) error {
	text, err := t.Renew(time.Now())
	if err != nil {
		return err
	}
	removed, err := t.Expire(time.Now())
	if err != nil {
		return fmt.Errorf("the stamp is renewed; remove what was set aside: %w", err)
	}
	return command.Print(cmd, map[string]any{"tree": t.Path(), "stamp": text, "removed": removed}, func(w io.Writer) {
		fmt.Fprintf(w, "stamp: %s\n", text)
		for _, name := range removed {
			fmt.Fprintf(w, "%s/%s removed: its time has passed\n", layout.Aside, name)
		}
	})
}

func installHook(cmd *cobra.Command, t stamp.Tree, keep time.Duration) error {
	files, err := t.InstallHook(keep)
	if err != nil {
		return err
	}
	return command.Print(cmd, map[string]any{"tree": t.Path(), "files": files}, func(w io.Writer) {
		for _, name := range files {
			fmt.Fprintf(w, "%s written\n", name)
		}
	})
}

func removeHook(cmd *cobra.Command, t stamp.Tree) error {
	if err := t.RemoveHook(); err != nil {
		return err
	}
	sets, err := t.Sets()
	if err != nil {
		return err
	}
	if sets == nil {
		sets = []stamp.Set{}
	}
	return command.Print(cmd, map[string]any{"tree": t.Path(), "sets": sets}, func(w io.Writer) {
		fmt.Fprintln(w, "the hook is removed")
		if len(sets) > 0 {
			fmt.Fprintf(w, "%s still has %d sets of replaced files; sidustree touch removes each when its time has passed, the last at %s\n",
				layout.Aside, len(sets), sets[len(sets)-1].Until.Local().Format("2006-01-02 15:04"))
		}
	})
}
