package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/versions"
)

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list BASE",
		Short: "List the versions, and which nodes run them",
		Long: `List the versions, newest first: when each was published, the kernels for which it
has modules, how much disk space its removal would free, and how many nodes run it.
The current version has a star.

Nodes are known if the kernel's NFS server serves them by NFSv3. A question mark
means that there are clients of which it is not known which version they run.`,
		Example: `  sidustree list /srv/nfsroot/sidus
  sidustree list /srv/nfsroot/sidus --json`,
		Args: command.Arguments(1, "BASE"), ValidArgsFunction: directory,
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBase(args[0], func(b *versions.Base) error {
				all, err := b.List()
				if err != nil {
					return err
				}
				usage, err := versions.ReadUsage(b.Path(), serverSources(nil))
				known := !errors.Is(err, versions.ErrNoSource) && !errors.Is(err, versions.ErrNotExported)
				if err != nil && known {
					return err
				}
				type row struct {
					versions.Version
					Nodes []string `json:"nodes"`
				}
				rows := make([]row, len(all))
				for i, v := range all {
					rows[i] = row{v, notNil(usage.Clients[v.ID])}
				}
				return command.Print(cmd, map[string]any{"versions": rows, "unknown_nodes": notNil(usage.Unknown), "nodes_known": known}, func(w io.Writer) {
					t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
					fmt.Fprintln(t, "VERSION\tPUBLISHED\tKERNEL\tOWN\tNODES")
					for _, r := range rows {
						mark := ""
						if r.Current {
							mark = " *"
						}
						nodes := fmt.Sprint(len(r.Nodes))
						if !known || len(usage.Unknown) > 0 {
							nodes += " ?"
						}
						fmt.Fprintf(t, "%s%s\t%s\t%s\t%s\t%s\n", r.ID, mark, r.Published.Local().Format("2006-01-02 15:04"),
							command.Printable(strings.Join(r.Kernels, " ")), bytesText(r.Own), nodes)
					}
					_ = t.Flush()
				})
			})
		},
	}
}

// notNil is a list that JSON has as [], not as null.
func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func diffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff BASE FROM TO",
		Short: "Show what an update from one version to another changes",
		Long: `Compare two versions: packages, kernels, files below /etc and all other files.
"+" was added, "-" was removed, "~" has changed.`,
		Example: `  sidustree diff /srv/nfsroot/sidus 20261101-090000 20261126-101500`,
		Args:    command.Arguments(3, "BASE", "FROM", "TO"), ValidArgsFunction: baseAndIDs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withBase(args[0], func(b *versions.Base) error {
				d, err := b.Diff(cmd.Context(), args[1], args[2])
				if err != nil {
					return err
				}
				return command.Print(cmd, d, func(w io.Writer) {
					for _, part := range []struct {
						name    string
						changes []versions.Change
					}{{"packages", d.Packages}, {"kernels", d.Kernels}, {"/etc", d.Etc}, {"other files", d.Files}} {
						fmt.Fprintf(w, "%s: %d\n", part.name, len(part.changes))
						for _, c := range part.changes {
							fmt.Fprintln(w, "  "+changeText(c))
						}
					}
				})
			})
		},
	}
}

func changeText(c versions.Change) string {
	switch {
	case c.From == "":
		return strings.TrimSpace("+ " + command.Printable(c.Name) + " " + versionOnly(c.To))
	case c.To == "":
		return strings.TrimSpace("- " + command.Printable(c.Name) + " " + versionOnly(c.From))
	case c.From == c.To:
		return "~ " + command.Printable(c.Name) + " " + command.Printable(c.To)
	}
	return "~ " + command.Printable(c.Name) + " " + command.Printable(c.From) + " -> " + command.Printable(c.To)
}

// versionOnly leaves out what says only that something is there.
func versionOnly(s string) string {
	if s == "content" || s == "there" {
		return ""
	}
	return command.Printable(s)
}

func bytesText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.0f kB", float64(n)/1e3)
}
