package main

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidusboot/sidusboot/bootlog"
	"github.com/sidusboot/sidusboot/chroot"
	"github.com/sidusboot/sidusboot/clock"
	"github.com/sidusboot/sidusboot/config"
	"github.com/sidusboot/sidusboot/image"
	"github.com/sidusboot/sidusboot/iscsi"
	"github.com/sidusboot/sidusboot/kmod"
	"github.com/sidusboot/sidusboot/mounts"
	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/overlay"
	"github.com/sidusboot/sidusboot/panics"
)

// Delays of the policies.
const (
	// defaultDelay leaves time to read the message before a restart.
	defaultDelay = 30 * time.Second
	firstRetry   = time.Second
	maxRetry     = 30 * time.Second
)

// failed logs why an attempt failed and does what sidus.onerror= says. It returns
// when the boot is to be tried again.
func (n *node) failed(err error, attempt int) {
	if !retryable(err) {
		n.endVolume()
		n.fatal(err)
	}
	n.log.Errorf("%v", err)
	var nics *network.NoAddressError
	if errors.As(err, &nics) {
		for _, line := range nics.Table() {
			n.log.Errorf("  %s", line)
		}
	}
	n.report.Failures.Add(err.Error())
	n.saveReport()
	if n.cfg.OnError == config.Retry {
		wait := retryDelay(attempt)
		n.log.Errorf("trying again in %v (sidus.onerror=retry, attempt %d)", wait.Round(time.Second/10), attempt)
		time.Sleep(wait)
		return
	}
	n.endVolume()
	n.applyPolicy("tries again")
}

// endVolumeTime is what the end of the volume may take before a restart: its
// target may be gone.
const endVolumeTime = 20 * time.Second

// endVolume gives back what the attempt has taken of the node's volume, where the
// machine is about to restart: it may not come back. Who is given a shell finds
// everything as it was.
func (n *node) endVolume() {
	if n.lun == nil || n.cfg.OnError == config.Shell {
		return
	}
	select {
	case err := <-panics.Go(func() error {
		err := mounts.Detach(unionDir, fullDir, rwDir, lookDir)
		if err == nil { // What is mounted may still be written to.
			n.dropLUN()
		}
		return err
	}):
		if err != nil {
			n.log.Errorf("%v", err)
		}
	case <-time.After(endVolumeTime):
		n.log.Errorf("the volume of the node was not unmounted within %v: it stays mounted", endVolumeTime)
	}
}

// retryable tells whether another attempt may succeed. What is wrong with the image
// stays wrong.
func retryable(err error) bool {
	var missing *kmod.MissingError
	return !errors.As(err, &missing) && !errors.Is(err, overlay.ErrNone)
}

// fatal is failed for an error that is not retryable: parameters and image come from
// the boot server, so only a restart can bring better ones.
func (n *node) fatal(err error) {
	n.log.Errorf("%v", err)
	if n.cfg.OnError == config.Retry {
		n.restart(n.restartDelay())
	}
	for {
		n.applyPolicy("starts another shell: new parameters or a new image need a restart")
	}
}

// applyPolicy does what the policies other than retry say. It returns when a shell
// ended; then says what comes after that.
func (n *node) applyPolicy(then string) {
	switch n.cfg.OnError {
	case config.Reboot:
		n.restart(n.restartDelay())
	case config.PowerOff:
		n.log.Errorf("power off in %v (sidus.onerror=poweroff)", defaultDelay)
		time.Sleep(defaultDelay)
		n.reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	case config.Shell:
		n.shell(then)
	}
}

// restartDelay is panic= where the policy is a restart: 30 s without it, none
// for a negative one. Where panic=0 would wait for ever, sidus.onerror= has
// already said otherwise.
func (n *node) restartDelay() time.Duration {
	if p := n.cfg.Panic; p != nil && *p != 0 {
		return time.Duration(max(*p, 0)) * time.Second
	}
	return defaultDelay
}

// retryDelay doubles from attempt to attempt, with jitter: the nodes of a site
// fail at the same moment, and must not come back at the same moment.
func retryDelay(attempt int) time.Duration {
	d := maxRetry
	if attempt < 6 {
		d = min(firstRetry<<(attempt-1), maxRetry)
	}
	return clock.Jitter(d)
}

// restart reboots the machine after delay, or never where delay is negative.
func (n *node) restart(delay time.Duration) {
	if delay < 0 {
		n.log.Errorf("waiting without end (panic=0)")
		clock.SleepForever()
	}
	n.log.Errorf("reboot in %v", delay)
	time.Sleep(delay)
	n.reboot(unix.LINUX_REBOOT_CMD_RESTART)
}

func (n *node) reboot(cmd int) {
	var lun volume
	if n.lun != nil {
		lun = n.lun
	}
	settle(n.log, func() error {
		unix.Sync()
		return nil
	}, lun)
	if err := unix.Reboot(cmd); err != nil {
		n.log.Errorf("reboot: %v", err)
	}
	// Power off without a way to do so comes back here. To end would be a panic.
	clock.SleepForever()
}

// settleTime limits the writing before a restart, and after it the end of a session
// whose target does not answer.
const settleTime = 10 * time.Second

// settle writes everything out before a restart. What is to be written to a target
// that is gone is held back by the kernel for a day, and the kernel waits for the
// disk once more when it restarts: such a session is given up.
func settle(log *bootlog.Logger, sync func() error, volume volume) {
	written := true
	select {
	case <-panics.Go(sync):
	case <-time.After(settleTime):
		written = false
		log.Errorf("sync has not finished after %v: this node no longer waits for it", settleTime)
	}
	if volume == nil || written && volume.Answers() {
		return
	}
	lost := ""
	if !written {
		lost = ", WHAT WAS NOT WRITTEN TO IT YET IS LOST"
	}
	log.Errorf("the target of the volume does not answer: its session is given up%s", lost)
	select {
	case err := <-panics.Go(volume.Abandon):
		if err != nil && !errors.Is(err, iscsi.ErrGone) {
			log.Errorf("%v", err)
		}
	case <-time.After(settleTime): // It waits for those who hold the disk.
	}
}

// A volume is a *rwlayer.LUN as settle needs it.
type volume interface {
	Answers() bool
	Abandon() error
}

// saveReport leaves the report where a shell can read it.
func (n *node) saveReport() {
	if n.system.loader != nil {
		n.report.Modules = n.system.loader.Loaded()
	}
	n.report.Devices = kmod.Devices("/sys")
	if err := n.report.Write(stateDir, n.log); err != nil {
		n.log.Errorf("%v", err)
	}
}

// shell runs a shell on the console and waits for its end: the tree's, in the
// union where that is mounted or in the tree itself, else the program packed
// with --rescue. then says what its end leads to.
func (n *node) shell(then string) {
	n.saveReport()
	root, program := chroot.FindShell(image.Rescue, unionDir, roDir)
	if program == "" {
		n.log.Errorf("there is no shell: no tree with a /bin/sh is mounted, and the image has no rescue program (initrdgen build --rescue FILE)")
		time.Sleep(defaultDelay)
		return
	}
	n.log.Errorf("a shell (%s in %s); see also /run/sidusboot/boot.log; its exit %s", program, root, then)
	if err := chroot.Shell(root, program); err != nil {
		n.log.Errorf("shell: %v", err)
		time.Sleep(firstRetry)
	}
}
