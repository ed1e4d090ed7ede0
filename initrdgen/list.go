package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/initrd"
)

func listCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list FILE",
		Short:   "List what is in an initrd",
		Long:    "List the files of an initrd that initrdgen built: mode, bytes and path of each.",
		Example: "  initrdgen list /srv/tftp/initrd.img",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("list takes one FILE, not %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			files, err := initrd.List(f)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			for _, file := range files {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %9d %s\n", file.Mode, file.Bytes, printable(file.Path))
			}
			return nil
		},
	}
}
