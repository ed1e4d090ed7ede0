// Command boot opens a lab with all its servers, boots one guest in it and
// shows the guest's console. Run it as root:
//
//	go run ./qemu-tests/boot --suite bookworm --initrd bin/initrd.img --append 'ip=dhcp root=/dev/nfs'
//
// What is typed goes to the guest's console. It ends with the guest, at the
// timeout, or by Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	qemutests "github.com/sidusboot/sidusboot/qemu-tests"
)

func main() { qemutests.RunCommand("boot", run) }

func run(ctx context.Context) error {
	var (
		tree     = flag.String("tree", "", "root `tree` to export; default: a tree made of --suite")
		suite    = flag.String("suite", "bookworm", "Debian `suite` to make a tree of")
		kernel   = flag.String("kernel", "", "kernel `file`; default: the newest in the tree")
		initrd   = flag.String("initrd", "", "initrd `file`, or \"peer\" for one by initramfs-tools; default: bin/initrdgen makes one")
		params   = flag.String("append", "", "kernel command `line`; %T stands for the tree's path; default: NFS root, events and agent")
		rootPath = flag.String("root-path", "", "DHCP option 17; %T stands for the tree's path")
		arm64    = flag.Bool("arm64", false, "a machine of arm64, for a tree of arm64")
		access   = flag.String("access", "RO", "how the tree is exported: RO or RW")
		model    = flag.String("nic", "", "network card `model`")
		memory   = flag.Int("memory", 0, "`MiB` of memory")
		icount   = flag.Bool("icount", false, "tie the guest's clock to executed instructions")
		command  = flag.String("run", "", "shell `command` to run through the agent, then power off")
		logs     = flag.String("logs", "", "`folder` for the logs of servers and guest")
		timeout  = flag.Duration("timeout", 5*time.Minute, "give up after this time")
	)
	flag.Parse()
	if err := qemutests.AtMostOne(flag.CommandLine, "tree", "suite"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()

	var err error
	if *tree == "" {
		if *tree, err = qemutests.Tree(ctx, *suite); err != nil {
			return err
		}
	}
	if *kernel == "" {
		if *kernel, _, err = qemutests.Kernel(*tree); err != nil {
			return err
		}
	}
	switch *initrd {
	case "":
		*initrd, err = qemutests.BuildImage(ctx, *tree)
	case "peer":
		*initrd, err = qemutests.PeerInitrd(ctx, *tree)
	}
	if err != nil {
		return err
	}

	machine := qemutests.PC
	if *arm64 {
		machine = qemutests.ARM64
	}
	if *params == "" {
		*params = qemutests.PeerParams(*tree) + " " + machine.EventParam() + " " + qemutests.AgentParam
	}

	lab, err := qemutests.Open(ctx, qemutests.LabOptions{Logf: logf})
	if err != nil {
		return err
	}
	defer lab.Close()
	fill := strings.NewReplacer("%T", *tree)
	err = lab.StartServers(ctx, qemutests.Export{Path: *tree, Access: *access}, fill.Replace(*rootPath))
	if err != nil {
		return err
	}
	guest, err := lab.Boot(ctx, qemutests.GuestOptions{
		Machine: machine, Kernel: *kernel, Initrd: *initrd, Cmdline: fill.Replace(*params), Memory: *memory,
		NICs: []qemutests.NIC{{Model: *model}}, Icount: *icount, Live: os.Stdout,
	})
	if err != nil {
		return err
	}
	if *logs != "" {
		defer lab.SaveLogs(*logs)
	}
	go io.Copy(guest.Input(), os.Stdin)
	if *command != "" {
		out, exit, err := guest.Run(ctx, *command)
		if err != nil {
			return err
		}
		fmt.Printf("\n--- %s: exit status %d\n%s---\n", *command, exit, out)
		guest.Kill()
	}
	exit, err := guest.Wait(ctx)
	if errors.Is(err, qemutests.ErrPanic) {
		time.Sleep(time.Second) // The kernel prints the rest of its panic message; nothing marks its end.
	}
	for _, e := range guest.Events() {
		logf("event %-10s %-6s at %8.3fs took %7.3fs %s", e.Stage, e.State, e.Uptime.Seconds(), e.Took.Seconds(), e.Text)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("the guest still ran after %v", *timeout)
	}
	if err != nil {
		return err
	}
	traffic, _ := guest.Traffic(0)
	logf("guest ended: %s after %v, received %d bytes in %d packets", exit.Reason,
		exit.Ran.Round(time.Millisecond), traffic.ReceivedBytes, traffic.ReceivedPackets)
	return nil
}

func logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "boot: "+format+"\n", args...)
}
