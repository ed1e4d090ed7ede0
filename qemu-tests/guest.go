package qemutests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// GuestOptions describe a guest.
type GuestOptions struct {
	// Name is for logs and messages. Default "guest".
	Name string
	// Kernel and Initrd are files; no Initrd is fine.
	Kernel, Initrd string
	// Machine is the kind of computer.
	Machine Machine
	// Cmdline is the kernel command line. console=ttyS0 (ARM64: ttyAMA0) is put before it
	// unless it has a console= of its own.
	Cmdline string
	// Firmware starts the machine as its power button does, from the network: BIOS or
	// UEFI. Then Kernel, Initrd and Cmdline are left empty.
	Firmware Firmware
	// Variables is a file of UEFI's variables, which the machine changes, as a
	// variable store of OVMF has them. Empty: a fresh one, without Secure Boot.
	Variables string
	// Memory is in MiB. Default 2048.
	Memory int
	// NICs are the network cards. Nil: one; empty: none.
	NICs []NIC
	// UUID is the machine's SMBIOS UUID.
	UUID string
	// Processors are emulated side by side. Default 1.
	Processors int
	// Icount ties the guest's clock to executed instructions: one processor only.
	Icount bool
	// Reboot lets the guest reboot. Otherwise a reboot ends it.
	Reboot bool
	// PanicOK makes a kernel panic no error: waits go on.
	PanicOK bool
	// QEMU are further arguments for QEMU.
	QEMU []string
	// Live receives the console as it comes.
	Live io.Writer
}

// A Reason is why a guest ended.
type Reason string

// The reasons, as QEMU names them where it does.
const (
	PoweredOff Reason = "guest-shutdown"
	Rebooted   Reason = "guest-reset"
	Panicked   Reason = "guest-panic"
	// Died means that QEMU ended without giving a reason: it was killed, or failed.
	Died Reason = "died"
)

// An Exit tells how a guest ended.
type Exit struct {
	Reason Reason
	// Ran is the time from QEMU's start to its end.
	Ran time.Duration
}

// A Guest is a running machine.
type Guest struct {
	name string
	lab  *Lab
	opts GuestOptions
	argv []string
	cmd  *exec.Cmd
	err  string // file with QEMU's own messages

	monitor   *monitor
	console   *transcript
	events    *transcript
	agentLog  *transcript
	agentConn net.Conn
	inputConn net.Conn
	started   time.Time
	done      chan struct{}

	agentMu sync.Mutex // one command at a time

	mu   sync.Mutex
	exit Exit
	// now is QEMU's time at the last news, atInit at the first of /init.
	now, atInit processorTime
	// release gives the guest's place back; nil while it is paused.
	release func()
}

// Boot starts a guest in the lab. It first waits for its turn: there are only
// so many guests at a time on one machine, see slot.
func (l *Lab) Boot(ctx context.Context, opts GuestOptions) (*Guest, error) {
	if opts.Name == "" {
		opts.Name = "guest"
	}
	if opts.Memory == 0 {
		opts.Memory = 2048
	}
	if opts.NICs == nil {
		opts.NICs = []NIC{{}}
	}
	if opts.Firmware == "" && !strings.Contains(opts.Cmdline, "console=") {
		opts.Cmdline = strings.TrimSpace("console=" + opts.Machine.console() + " " + opts.Cmdline)
	}
	g := &Guest{
		name: l.name(opts.Name), lab: l, opts: opts, done: make(chan struct{}),
		console: newTranscript(), events: newTranscript(), agentLog: newTranscript(),
	}
	release, err := l.place(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g.name, err)
	}
	if err := g.start(ctx, release); err != nil {
		return nil, fmt.Errorf("%s: %w", g.name, err)
	}
	l.watch.progress("the start of " + g.name)
	l.logf("%s started: %s", g.name, g.CommandLine())
	return g, nil
}

// start runs QEMU and connects to it. From the moment that QEMU runs, release
// is called when it ends; before, on an error.
func (g *Guest) start(ctx context.Context, release func()) (err error) {
	running := false
	defer func() {
		if !running {
			release()
		}
	}()
	g.opts.NICs = append([]NIC(nil), g.opts.NICs...)
	for i, nic := range g.opts.NICs {
		if g.opts.NICs[i], err = g.lab.plug(ctx, nic); err != nil {
			return err
		}
	}
	dir := filepath.Join(labDir, g.name)
	if err := os.Mkdir(g.lab.Path(dir), 0o755); err != nil {
		return err
	}
	listeners, err := listenAll(g.lab.Path(dir), "console", "events", "agent", "qmp")
	if err != nil {
		return err
	}
	defer listeners.close()

	if g.opts.Firmware == UEFI {
		if g.opts.Variables, err = g.lab.variables(g.opts.Machine, g.opts.Variables, filepath.Join(dir, "variables.fd")); err != nil {
			return err
		}
	}
	g.argv = qemuArgs(g.opts, socketPorts(dir))
	g.cmd = exec.Command(g.argv[0], append(g.argv[1:], "-S")...)
	g.err = g.lab.Path(filepath.Join(dir, "qemu.log"))
	out, err := os.Create(g.err)
	if err != nil {
		return err
	}
	defer out.Close()
	g.cmd.Stdout, g.cmd.Stderr = out, out
	g.started = time.Now()
	if err := g.lab.ns.start(g.cmd); err != nil {
		return err
	}
	running = true
	g.exit.Reason = Died
	g.release = release
	go func() {
		g.cmd.Wait()
		g.mu.Lock()
		g.exit.Ran = time.Since(g.started)
		g.mu.Unlock()
		g.leave()
		close(g.done)
	}()
	g.lab.mu.Lock()
	g.lab.guests = append(g.lab.guests, g)
	g.lab.mu.Unlock()

	if err := g.connect(ctx, listeners); err != nil {
		g.Kill()
		log, _ := os.ReadFile(g.err)
		return fmt.Errorf("start QEMU: %w: %s\n%s", err, strings.TrimSpace(string(log)), quoted(g.argv))
	}
	return nil
}

// connect takes QEMU's calls and lets the machine run.
func (g *Guest) connect(ctx context.Context, l listeners) error {
	conns, err := l.accept(ctx, g.done)
	if err != nil {
		return err
	}
	g.inputConn, g.agentConn = conns["console"], conns["agent"]
	go g.console.record(conns["console"], g.opts.Live, g.hears("console"))
	go g.events.record(conns["events"], nil, g.hears("events"))
	go g.agentLog.record(conns["agent"], nil, g.hears("agent"))
	g.monitor = newMonitor(conns["qmp"], g.onEvent)
	if _, err := g.monitor.execute(ctx, "qmp_capabilities", nil); err != nil {
		return err
	}
	for i, nic := range g.opts.NICs {
		if nic.LinkDown {
			if err := g.SetLink(ctx, i, false); err != nil {
				return err
			}
		}
	}
	_, err = g.monitor.execute(ctx, "cont", nil)
	return err
}

// hears returns a function that takes what a port says for the lab's watch.
func (g *Guest) hears(port string) func([]byte) {
	var n news
	return func(text []byte) {
		if line := n.in(text); line != "" {
			g.measure(line)
			g.lab.watch.progress(fmt.Sprintf("%q from the %s port of %s", line, port, g.name))
		}
	}
}

// onEvent keeps the reason that QEMU gives for its end.
func (g *Guest) onEvent(name string, data json.RawMessage) {
	if name != "SHUTDOWN" {
		return
	}
	var shutdown struct {
		Reason Reason `json:"reason"`
	}
	if err := json.Unmarshal(data, &shutdown); err == nil {
		g.mu.Lock()
		g.exit.Reason = shutdown.Reason
		g.mu.Unlock()
	}
}

// Name is the guest's name in its lab.
func (g *Guest) Name() string { return g.name }

// MAC is the address of a card, counted from 0.
func (g *Guest) MAC(card int) string { return g.opts.NICs[card].MAC }

// Console is what the guest has written to its console so far.
func (g *Guest) Console() string { return g.console.String() }

// Input types on the guest's console.
func (g *Guest) Input() io.Writer { return g.inputConn }

// CommandLine starts the same machine by hand, with its console on the
// terminal, for use inside the lab or a namespace with the same tap devices.
func (g *Guest) CommandLine() string { return quoted(qemuArgs(g.opts, byHand)) }

// SetLink plugs or pulls the cable of a card, counted from 0.
func (g *Guest) SetLink(ctx context.Context, card int, up bool) error {
	_, err := g.monitor.execute(ctx, "set_link", map[string]any{"name": cardID(card), "up": up})
	return err
}

// leave gives the guest's place to another.
func (g *Guest) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.release != nil {
		g.release()
		g.release = nil
	}
}

// Pause stops the machine's processor, so that its clock stands still and
// another guest may run in its place. To the others it is silent.
func (g *Guest) Pause(ctx context.Context) error {
	_, err := g.monitor.execute(ctx, "stop", nil)
	if err == nil {
		g.leave()
	}
	return err
}

// Resume undoes Pause, when there is a place.
func (g *Guest) Resume(ctx context.Context) error {
	release, err := g.lab.place(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", g.name, err)
	}
	g.mu.Lock()
	g.release = release
	g.mu.Unlock()
	select {
	case <-g.done:
		g.leave()
	default:
	}
	_, err = g.monitor.execute(ctx, "cont", nil)
	return err
}

// Reset presses the reset button. Without GuestOptions.Reboot that ends the
// guest.
func (g *Guest) Reset(ctx context.Context) error {
	_, err := g.monitor.execute(ctx, "system_reset", nil)
	return err
}

// Wait waits for the guest's end. A kernel panic that does not end it, since
// the guest has no panic=, is an error at once.
func (g *Guest) Wait(ctx context.Context) (Exit, error) {
	ctx, cancel := g.lab.bounded(ctx, "the guest's end")
	defer cancel()
	for {
		_, console, _ := g.console.state()
		if err := g.trouble(); err != nil {
			return Exit{Reason: Panicked}, g.explain(err)
		}
		select {
		case <-g.done:
			<-g.monitor.ended // the reason comes before the end
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.exit, nil
		case <-console:
		case <-ctx.Done():
			return Exit{}, g.explain(fmt.Errorf("waiting for the guest's end: %w", context.Cause(ctx)))
		}
	}
}

// Kill ends the guest as a power cut would, and waits for it.
func (g *Guest) Kill() {
	if err := g.cmd.Process.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		g.lab.logf("%s: kill: %v", g.name, err)
	}
	<-g.done
}
