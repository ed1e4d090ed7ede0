package main

import (
	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/bootfiles"
)

// addBootFlags adds the flags of bootfiles.Options: those that name a kernel, an image
// and their parameters, the same for install and uki. rootHas says what is read from
// the tree besides the kernel; it may be empty.
func addBootFlags(cmd *cobra.Command, opts *bootfiles.Options, rootHas string) {
	f := cmd.Flags()
	f.StringVar(&opts.Image, "image", "", "the image, a `FILE` that initrdgen build wrote (default: the newest TREE/boot/initrd-sidus-RELEASE)")
	f.StringVar(&opts.Root, "root", "", "the root `TREE` that has the image's kernel in boot/"+rootHas)
	f.StringVar(&opts.Kernel, "kernel", "", "the kernel's `FILE`, instead of the tree's")
	f.StringVar(&opts.Append, "append", "", "kernel `PARAMETERS` for all labels")
	f.StringVar(&opts.AppendTmpfs, "append-tmpfs", "", "further `PARAMETERS` for the label tmpfs")
	f.StringVar(&opts.AppendISCSI, "append-iscsi", "", "further `PARAMETERS` for the label iscsi")
	f.StringVar(&opts.Default, "default", bootfiles.Tmpfs, "the `LABEL` that nodes boot: "+bootfiles.Tmpfs+" or "+bootfiles.ISCSI)
}
