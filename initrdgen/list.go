package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/initrd"
)

// inspected tells which images the commands read, for their help.
const inspected = `The image may be of any generator: sidusboot, initramfs-tools, dracut, booster.
It may have several archives one behind the other, such as microcode first, each
of them plain or compressed by gzip, zstd, xz, lz4 -l, bzip2 or lzma. Archives of
lzop, and of xz with BCJ filters, are not supported.`

func listCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list IMAGE",
		Short: "List what is in an initrd",
		Long: `List the files of an initrd: mode in octal, bytes and path of each, where a link
leads to, the numbers of a device.

` + inspected,
		Example: "  initrdgen list /srv/tftp/initrd.img\n  initrdgen list --json /boot/initrd.img-6.1.0-56-amd64",
		Args:    arguments("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := openImage(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			l, err := initrd.List(f)
			if asJSON && err == nil {
				return printJSON(cmd.OutOrStdout(), l)
			}
			if !asJSON {
				printListing(cmd.OutOrStdout(), l)
			}
			return ofImage(args[0], err)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printListing(w io.Writer, l *initrd.Listing) {
	last := -1
	for _, f := range l.Files {
		if f.Archive != last && len(l.Archives) > 1 {
			a := l.Archives[f.Archive]
			early := ""
			if a.Early {
				early = ", read by the kernel before all else"
			}
			fmt.Fprintf(w, "# archive at byte %d, compression %s: %d files, %d bytes%s\n", a.Offset, a.Compression, a.Files, a.Bytes, early)
		}
		last = f.Archive
		fmt.Fprintf(w, "%06o %9d %s", uint32(f.Mode), f.Bytes, printable(f.Path))
		switch {
		case f.Link != "":
			fmt.Fprintf(w, " -> %s", printable(f.Link))
		case f.HardLink != "":
			fmt.Fprintf(w, " = %s", printable(f.HardLink))
		case f.Device != "":
			fmt.Fprintf(w, " (%s)", f.Device)
		}
		fmt.Fprintln(w)
	}
}

func catCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cat IMAGE PATH",
		Short: "Print a file of an initrd",
		Long: `Print the content of a file of an initrd, as it is. Links in the image are
followed; of a file that is in several archives, the last one counts, as for the
kernel.

` + inspected,
		Example: "  initrdgen cat /srv/tftp/initrd.img etc/initrd-release",
		Args:    arguments("IMAGE", "PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := openImage(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			return ofImage(args[0], initrd.Cat(cmd.OutOrStdout(), f, args[1]))
		},
	}
}

func extractCommand() *cobra.Command {
	var dir string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "extract IMAGE --output DIR [PATH]...",
		Short: "Write the files of an initrd into a directory",
		Long: `Write the files of an initrd into DIR, which must be empty or not exist: all of
them, or those that are named, directories with all that is in them.

Nothing is written outside DIR, whatever is in the image: absolute names, names
with .. and links that lead out are errors. Files belong to who runs it, without
set-user-ID bits. Devices, FIFOs and sockets are named and not made.

` + inspected,
		Example: "  initrdgen extract /srv/tftp/initrd.img --output tmp\n  initrdgen extract initrd.img --output tmp etc lib/modules",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("IMAGE is missing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return usagef("--output is missing: name the directory to write to")
			}
			f, err := openImage(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			x, err := initrd.Extract(cmd.Context(), f, dir, args[1:]...)
			if err != nil {
				return ofImage(args[0], err)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), x)
			}
			for _, name := range x.Skipped {
				fmt.Fprintf(cmd.ErrOrStderr(), "initrdgen: not made, because it is a device, a FIFO or a socket: %s\n", printable(name))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d files, %s\n", dir, x.Files, megabytes(x.Bytes))
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "output", "", "the `DIR` to write to (required)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// openImage opens a regular file: a FIFO would be waited for.
func openImage(name string) (*os.File, error) {
	f, err := initrd.OpenFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: name an initrd", err)
	}
	return f, nil
}

// ofImage names the image in an error about it.
func ofImage(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// arguments takes exactly those that are named.
func arguments(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef("%s is missing", names[len(args)])
		case len(args) > len(names):
			return usagef("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}

func printJSON(w io.Writer, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}
