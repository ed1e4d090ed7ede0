package command

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ManCommand is the command man of a program: it writes the manual pages of the
// program's commands into a directory, for packages. It is not in the program's
// help.
func ManCommand(program string) *cobra.Command {
	var date string
	cmd := &cobra.Command{
		Use:     "man DIR",
		Short:   "Write the manual pages of all commands into a directory",
		Long:    "Write the manual pages of all commands into the directory DIR, as PROGRAM-COMMAND.1.",
		Example: "  " + program + " man /usr/share/man/man1 --date 2026-11-26",
		Hidden:  true,
		Args:    Arguments(1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			day, err := time.Parse(time.DateOnly, date)
			if err != nil {
				return Usagef("--date: %q is not a date such as 2026-11-26", date)
			}
			return writePages(cmd.Root(), args[0], day)
		},
	}
	cmd.Flags().StringVar(&date, "date", "1970-01-01", "the `DATE` in the pages, as 2026-11-26")
	return cmd
}

// writePages writes a page for cmd and for each command below it that has one.
func writePages(cmd *cobra.Command, dir string, date time.Time) error {
	for _, sub := range subcommands(cmd) {
		if err := writePages(sub, dir, date); err != nil {
			return err
		}
	}
	var page strings.Builder
	writePage(&page, cmd, date)
	return os.WriteFile(filepath.Join(dir, pageName(cmd)+".1"), []byte(page.String()), 0o644)
}

// pageName is the name of a command's page: initrdgen-build.
func pageName(cmd *cobra.Command) string {
	return strings.ReplaceAll(cmd.CommandPath(), " ", "-")
}

// writePage writes the manual page of a command, in the macros of man(7). What is
// indented in a help text, such as a table, keeps its lines.
func writePage(w io.Writer, cmd *cobra.Command, date time.Time) {
	name := pageName(cmd)
	fmt.Fprintf(w, ".TH %s 1 %s sidusboot \"User Commands\"\n", roff(strings.ToUpper(name)), roff(date.Format(time.DateOnly)))
	fmt.Fprintf(w, ".SH NAME\n%s \\- %s\n", roff(name), roff(lowerFirst(cmd.Short)))
	fmt.Fprintf(w, ".SH SYNOPSIS\n%s\n", roff(synopsis(cmd)))
	fmt.Fprintln(w, ".SH DESCRIPTION")
	writeText(w, cmd.Long)
	if subs := subcommands(cmd); len(subs) > 0 {
		fmt.Fprintln(w, ".SH COMMANDS")
		for _, sub := range subs {
			fmt.Fprintf(w, ".TP\n.BR %s (1)\n%s.\n", roff(pageName(sub)), roff(sub.Short))
		}
	}
	writeFlags(w, "OPTIONS", cmd.LocalFlags())
	writeFlags(w, "OPTIONS OF ALL COMMANDS", cmd.InheritedFlags())
	if cmd.Example != "" {
		fmt.Fprintf(w, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(cmd.Example))
	}
	fmt.Fprintln(w, ".SH EXIT STATUS\n0 for success, 1 for a failure, 2 for wrong usage.")
	if cmd.HasParent() {
		fmt.Fprintf(w, ".SH SEE ALSO\n.BR %s (1)\n", roff(pageName(cmd.Parent())))
	}
}

func synopsis(cmd *cobra.Command) string {
	if len(subcommands(cmd)) > 0 {
		return cmd.CommandPath() + " COMMAND"
	}
	return cmd.UseLine()
}

// subcommands are those of cmd that have a page: those in the help.
func subcommands(cmd *cobra.Command) []*cobra.Command {
	var subs []*cobra.Command
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "completion" && sub.Name() != "help" {
			subs = append(subs, sub)
		}
	}
	return subs
}

// writeText writes the paragraphs of a help text.
func writeText(w io.Writer, text string) {
	verbatim := false
	in := func(want bool) {
		if want != verbatim {
			fmt.Fprintln(w, map[bool]string{true: ".nf", false: ".fi"}[want])
			verbatim = want
		}
	}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == "":
			in(false)
			fmt.Fprintln(w, ".PP")
		default:
			in(strings.HasPrefix(line, " "))
			fmt.Fprintln(w, roff(line))
		}
	}
	in(false)
}

func writeFlags(w io.Writer, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(w, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		head := "--" + f.Name
		if f.Shorthand != "" {
			head = "-" + f.Shorthand + ", " + head
		}
		if value != "" {
			head += " " + value
		}
		fmt.Fprintf(w, ".TP\n%s\n%s", roff(head), roff(usage))
		if value != "" && f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "0" {
			fmt.Fprintf(w, " (default: %s)", roff(strings.Trim(f.DefValue, "[]")))
		}
		fmt.Fprintln(w)
	})
}

// roff escapes what has a meaning in a manual page.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

func lowerFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToLower(text[:1]) + text[1:]
}
