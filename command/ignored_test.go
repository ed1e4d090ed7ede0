package command

import (
	"errors"
	"testing"

	"github.com/spf13/cobra"
)

// TestIgnored gives flags that have no effect beside another one.
func TestIgnored(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"none":            {[]string{"--list"}, ""},
		"one":             {[]string{"--list", "--size=1"}, "--list makes nothing: --size would have no effect: leave out one of them"},
		"its default":     {[]string{"--list", "--size", "7"}, "--list makes nothing: --size would have no effect: leave out one of them"},
		"two":             {[]string{"--size=1", "--list", "--name="}, "--list makes nothing: --name, --size would have no effect: leave out one of them"},
		"with an effect":  {[]string{"--list", "--dir=x"}, ""},
		"of all commands": {[]string{"--list", "--json", "--name=x"}, "--list makes nothing: --name would have no effect: leave out one of them"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, check := range []func(cmd *cobra.Command) error{
				func(cmd *cobra.Command) error { return Ignored(cmd, "--list makes nothing", "size", "name") },
				func(cmd *cobra.Command) error {
					return IgnoredBut(cmd, "--list makes nothing", "list", "dir", "json")
				},
			} {
				cmd := &cobra.Command{Use: "x", RunE: func(cmd *cobra.Command, _ []string) error { return check(cmd) }, SilenceErrors: true, SilenceUsage: true}
				cmd.Flags().Bool("list", false, "")
				cmd.Flags().Int("size", 7, "")
				cmd.Flags().String("name", "", "")
				cmd.Flags().String("dir", "", "")
				AddJSON(cmd)
				cmd.SetArgs(tt.args)
				err := cmd.Execute()
				got := ""
				if err != nil {
					got = err.Error()
				}
				if got != tt.want || err != nil && !errors.As(err, new(UsageError)) {
					t.Errorf("%q: %v, want %q", tt.args, err, tt.want)
				}
			}
		})
	}
}
