package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/command"
	"github.com/sidusboot/sidusboot/initrd"
)

func diffCommand() *cobra.Command {
	var exitCode bool
	cmd := &cobra.Command{
		Use:   "diff IMAGE IMAGE",
		Short: "Compare two initrds",
		Long: `Compare two initrds as the kernel would unpack them: < marks what only the first
has, > what only the second has, ! what differs, and how. Kernel modules are also
compared by name, because generators put them in different directories and may
compress them. Owners and times are not compared.

` + inspected,
		Example: "  initrdgen diff /srv/tftp/initrd.img.old /srv/tftp/initrd.img",
		Args:    command.Arguments(2, "IMAGE", "IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var images [2]*os.File
			for i, name := range args {
				f, err := openImage(name)
				if err != nil {
					return err
				}
				defer f.Close()
				images[i] = f
			}
			d, err := initrd.Diff(images[0], images[1])
			if damaged := (*initrd.DiffError)(nil); errors.As(err, &damaged) {
				return ofImage(args[damaged.Image-1], damaged.Err)
			}
			if err != nil {
				return err
			}
			err = command.Print(cmd, d, func(w io.Writer) { printDifference(w, d) })
			if err == nil && exitCode && !d.Equal() {
				return errors.New("the images differ")
			}
			return err
		},
	}
	command.AddJSON(cmd)
	cmd.Flags().BoolVar(&exitCode, "exit-code", false, "exit 1 if they differ")
	return cmd
}

func printDifference(w io.Writer, d *initrd.Difference) {
	for _, name := range d.OnlyFirst {
		fmt.Fprintf(w, "< %s\n", command.Printable(name))
	}
	for _, name := range d.OnlySecond {
		fmt.Fprintf(w, "> %s\n", command.Printable(name))
	}
	for _, c := range d.Changed {
		fmt.Fprintf(w, "! %s: %s", command.Printable(c.Path), strings.Join(c.What, ", "))
		if c.First.Mode != c.Second.Mode {
			fmt.Fprintf(w, "; %v, %v", c.First.Mode, c.Second.Mode)
		}
		if c.First.Bytes != c.Second.Bytes {
			fmt.Fprintf(w, "; %d bytes, %d bytes", c.First.Bytes, c.Second.Bytes)
		}
		if c.First.Link != c.Second.Link {
			fmt.Fprintf(w, "; -> %s, -> %s", command.Printable(c.First.Link), command.Printable(c.Second.Link))
		}
		fmt.Fprintln(w)
	}
	for _, m := range []struct {
		which string
		names []string
	}{{"first", d.ModulesOnlyFirst}, {"second", d.ModulesOnlySecond}} {
		if len(m.names) > 0 {
			fmt.Fprintf(w, "modules only in the %s: %s\n", m.which, command.Printable(strings.Join(m.names, " ")))
		}
	}
	fmt.Fprintf(w, "%d only in the first, %d only in the second, %d changed, %d the same\n",
		len(d.OnlyFirst), len(d.OnlySecond), len(d.Changed), d.Same)
}

func checkCommand() *cobra.Command {
	var modalias string
	var opts initrd.CheckOptions
	cmd := &cobra.Command{
		Use:   "check IMAGE --modalias FILE",
		Short: "Tell whether a node with certain devices would boot with an initrd",
		Long: `Tell whether a node with certain devices would boot with an initrd, and if not,
why and what to do: whether one of its network cards has a driver in the image,
with all modules that the driver needs and the one for its bus; whether the image
can mount the root over NFS; whether the tree has modules for the kernel of the image.

FILE is a list of the node's devices, one modalias on each line, or the boot.json
of a node (/run/sidusboot/boot.json). On a node that runs any Linux, this makes it:

  cat /sys/bus/*/devices/*/modalias | sort -u

With --root the kernel of the tree tells which module each device needs. Without
it only the image is examined: which module it lacks for a device is not known.

The exit status is 0 if the node would boot, 1 if it would not. What happens only
on the node is not found: missing firmware, a bad cable, or a server that does not
answer.

To add a missing module to an image of sidusboot, build it again with initrdgen
build --profile or --module.

` + inspected,
		Example: `  initrdgen check /srv/tftp/initrd.img --modalias node.modalias --root /srv/nfs/bookworm
  initrdgen check --json --modalias boot.json /boot/initrd.img`,
		Args: command.Arguments(1, "IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if modalias == "" {
				return command.Usagef("--modalias is missing: give a file with the node's devices")
			}
			list, err := initrd.OpenFile(modalias)
			if err != nil {
				return fmt.Errorf("--modalias: %w: give a file with the node's devices", err)
			}
			defer list.Close()
			if opts.Devices, err = initrd.ReadDevices(list); err != nil {
				return fmt.Errorf("--modalias: %s: %w", modalias, err)
			}
			f, err := openImage(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			v, err := initrd.Check(f, opts)
			if option := (*initrd.OptionError)(nil); errors.As(err, &option) {
				return withFlag(cmd, err)
			}
			if err != nil {
				return ofImage(args[0], err)
			}
			err = command.Print(cmd, v, func(w io.Writer) { printVerdict(w, v) })
			if err == nil && !v.Boots {
				return fmt.Errorf("%s: the node would not boot", args[0])
			}
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&modalias, "modalias", "", "`FILE` with the node's devices: one modalias on each line, or a boot.json (required)")
	f.StringVar(&opts.Root, "root", "", "the `TREE` that the node is to boot")
	f.StringVar(&opts.Kernel, "kernel", "", "`RELEASE` of a kernel in the image; needed if it has several")
	command.AddJSON(cmd)
	return cmd
}

func printVerdict(w io.Writer, v *initrd.Verdict) {
	kernel := v.Kernel
	if kernel == "" {
		kernel = "none"
	}
	fmt.Fprintf(w, "image of %s, kernel %s\n", v.Generator, command.Printable(kernel))
	for _, d := range v.Devices {
		if d.Kind == initrd.Other {
			continue // The tree's udev loads those.
		}
		var drivers []string
		for _, m := range d.Modules {
			text := fmt.Sprintf("%s %s", m.Name, m.State)
			if m.State == initrd.Incomplete {
				text += " (" + strings.Join(m.Missing, ", ") + ")"
			}
			drivers = append(drivers, text)
		}
		if len(drivers) == 0 {
			drivers = []string{"no driver known"}
		}
		fmt.Fprintf(w, "  %-4s %s: %s\n", d.Kind, command.Printable(d.Modalias), command.Printable(strings.Join(drivers, "; ")))
	}
	for _, list := range []struct {
		title    string
		findings []initrd.Finding
	}{{"reason", v.Reasons}, {"note", v.Notes}} {
		for _, f := range list.findings {
			fmt.Fprintf(w, "%s: %s", list.title, command.Printable(f.Text))
			if f.Remedy != "" {
				fmt.Fprintf(w, ": %s", command.Printable(f.Remedy))
			}
			fmt.Fprintln(w)
		}
	}
	if v.Boots {
		fmt.Fprintln(w, "the node would boot")
	} else {
		fmt.Fprintln(w, "the node would not boot")
	}
}
