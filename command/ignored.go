package command

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Ignored makes a UsageError of flags that were given and have no effect: cause names the
// flag that is the reason, with its value where only that is, and what it does: "--rollback
// uses the kernel of an installed version".
func Ignored(cmd *cobra.Command, cause string, flags ...string) error {
	var given []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed && slices.Contains(flags, f.Name) {
			given = append(given, "--"+f.Name)
		}
	})
	if len(given) == 0 {
		return nil
	}
	return Usagef("%s: %s would have no effect: leave out one of them", cause, strings.Join(given, ", "))
}

// IgnoredBut does the same for all flags of cmd but those that have an effect.
func IgnoredBut(cmd *cobra.Command, cause string, effective ...string) error {
	var flags []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(effective, f.Name) {
			flags = append(flags, f.Name)
		}
	})
	return Ignored(cmd, cause, flags...)
}
