package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cavaliergopher/cpio"
	"github.com/spf13/cobra"
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
			if err := list(cmd.OutOrStdout(), f); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return nil
		},
	}
}

func list(w io.Writer, r io.Reader) error {
	archive, _, err := uncompress(r)
	if err != nil {
		return err
	}
	defer archive.Close()
	for cr := cpio.NewReader(archive); ; {
		hdr, err := cr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%06o %9d %s\n", uint32(hdr.Mode), hdr.Size, printable(hdr.Name))
	}
}
