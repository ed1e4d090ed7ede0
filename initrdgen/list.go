package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/initrd"
)

// inspected tells which images the commands read, for their help.
const inspected = `The image may be of any generator: sidusboot, initramfs-tools, dracut, booster.
It may consist of several archives, such as microcode first, each of them
uncompressed or compressed by gzip, zstd, xz, lz4 -l, bzip2 or lzma. Not supported
are lzop, and xz with BCJ filters.`

func listCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list IMAGE",
		Short: "List what is in an initrd",
		Long: `List the files of an initrd: for each its mode in octal, its size in bytes, its
path, the target of a link, the numbers of a device. A module that sidusboot
compressed by itself is listed as it is when it is decompressed; cat, extract, diff
and check do the same.

` + inspected,
		Example: "  initrdgen list /srv/tftp/initrd.img\n  initrdgen list --json /boot/initrd.img-6.1.0-56-amd64",
		Args:    command.Arguments(1, "IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := openImage(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			l, err := initrd.List(f)
			if err != nil && command.JSON(cmd) {
				return ofImage(args[0], err) // Half a listing is no JSON of one.
			}
			return errors.Join(command.Print(cmd, l, func(w io.Writer) { printListing(w, l) }), ofImage(args[0], err))
		},
	}
	command.AddJSON(cmd)
	return cmd
}

func printListing(w io.Writer, l *initrd.Listing) {
	last := -1
	for _, f := range l.Files {
		if f.Archive != last && len(l.Archives) > 1 {
			a := l.Archives[f.Archive]
			early := ""
			if a.Early {
				early = ", read by the kernel early (microcode, ACPI tables)"
			}
			fmt.Fprintf(w, "# archive at byte %d, compression %s: %d files, %d bytes%s\n", a.Offset, a.Compression, a.Files, a.Bytes, early)
		}
		last = f.Archive
		fmt.Fprintf(w, "%06o %9d %s", uint32(f.Mode), f.Bytes, command.Printable(f.Path))
		switch {
		case f.Link != "":
			fmt.Fprintf(w, " -> %s", command.Printable(f.Link))
		case f.HardLink != "":
			fmt.Fprintf(w, " = %s", command.Printable(f.HardLink))
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
		Long: `Print the content of a file of an initrd, unchanged. Links in the image are
followed. If a file is in several archives, the last one is printed: it is the one
that the kernel uses.

` + inspected,
		Example: "  initrdgen cat /srv/tftp/initrd.img etc/initrd-release",
		Args:    command.Arguments(2, "IMAGE", "PATH"),
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
	cmd := &cobra.Command{
		Use:   "extract IMAGE --output DIR [PATH]...",
		Short: "Write the files of an initrd into a directory",
		Long: `Write the files of an initrd into DIR, which must be empty or not exist: all of
them, or only each PATH, a directory with all that is in it.

Nothing is written outside DIR, whatever is in the image: absolute names, names
with .. and links that lead out of DIR are errors. The files belong to the user who
runs it, without set-user-ID bits. Devices, FIFOs and sockets are listed, but not
made.

` + inspected,
		Example: "  initrdgen extract /srv/tftp/initrd.img --output tmp\n  initrdgen extract initrd.img --output tmp etc lib/modules",
		Args: func(cmd *cobra.Command, args []string) error {
			return command.Arguments(1, "IMAGE")(cmd, args[:min(1, len(args))])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return command.Usagef("--output is missing: give the directory to write to")
			}
			f, err := openImage(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			x, err := initrd.Extract(cmd.Context(), f, dir, args[1:]...)
			if err != nil {
				err = ofImage(args[0], err)
				if x != nil && x.Files > 0 {
					err = fmt.Errorf("%w; what was extracted before that is in %s: remove it before you try again", err, command.Printable(dir))
				}
				return err
			}
			return command.Print(cmd, x, func(w io.Writer) {
				for _, name := range x.Skipped {
					fmt.Fprintf(cmd.ErrOrStderr(), "initrdgen: not made, because it is a device, a FIFO or a socket: %s\n", command.Printable(name))
				}
				fmt.Fprintf(w, "%s: %d files, %s\n", dir, x.Files, megabytes(x.Bytes))
			})
		},
	}
	cmd.Flags().StringVar(&dir, "output", "", "the `DIR` to write to (required)")
	command.AddJSON(cmd)
	return cmd
}

// openImage opens a regular file: a FIFO would be waited for.
func openImage(name string) (*os.File, error) {
	f, err := initrd.OpenFile(name)
	if err != nil {
		return nil, fmt.Errorf("%w: give the name of an initrd", err)
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
