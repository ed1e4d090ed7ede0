//go:build qemu

package qemutests

import (
	"testing"
	"time"
)

// stubborn keeps systemd from coming to the end of a shutdown: a unit whose stop
// never ends. The agent is told not to end meanwhile.
const stubborn = `
mkdir -p /run/systemd/system/sidusboot-agent.service.d
printf '[Unit]\nDefaultDependencies=no\n' >/run/systemd/system/sidusboot-agent.service.d/live.conf
cat >/run/systemd/system/stubborn.service <<'UNIT'
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sleep infinity
TimeoutStopSec=infinity
UNIT
systemctl daemon-reload
systemctl start stubborn
`

// orders tells which FIFOs there are.
const orders = "ls /run/initramfs/order | tr '\\n' ' '"

// TestResidentHidden looks at the resident processes of a whole node as a user
// does and as a hardened service does, and then cancels a shutdown: the keeper
// hears that, also one that was started after the order.
func TestResidentHidden(t *testing.T) {
	t.Parallel()
	Soak(t) // A whole Debian; resident: TestEndingAsks, TestOpenOrder.
	s := newVolumeSite(t)
	host, file := s.volume("lun", 64<<20)
	s.tgt(LUN{Target: nodeTarget, File: file})
	g := s.boot(s.root("vers=3 ")+EventParam+" "+AgentParam+" sidus.rw=iscsi sidus.iscsi.lun=1 sidus.mkfs=blank", GuestOptions{NICs: []NIC{{MAC: MAC(1)}}})
	if _, err := failedUnits(g, t); err != nil {
		t.Fatal(err)
	}
	s.resident(g)

	// hidepid=2, which the node's operator has chosen: no other /proc is to be
	// found.
	const nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups "
	s.run(g, "mount -o remount,hidepid=2 /proc")
	s.same(g, []answer{
		{nobody + "find / -xdev -maxdepth 1 -name proc | wc -l", "1"}, // The search works.
		{nobody + "sh -c 'for d in $(find / \\( -path /usr -o -path /ro/usr \\) -prune -o -name stat -path \"*/1/stat\" -print 2>/dev/null); do echo $d; done'", ""},
		{nobody + "ls /run/initramfs 2>&1 | grep -c 'Permission denied'", "1"},
		{"awk '$5 ~ \"^/run/initramfs/\"' /proc/[0-9]*/mountinfo | wc -l", "0"},
	})
	s.run(g, "mount -o remount,hidepid=0 /proc")
	// A service of root's that may not change the kernel's settings.
	const hardened = "systemd-run --quiet --wait --pipe -p ProtectKernelTunables=yes -p ProtectProc=invisible "
	s.same(g, []answer{
		{hardened + `sh -c 'for f in /proc/sys/kernel/domainname /run/initramfs/proc/sys/kernel/domainname /sys/kernel/mm/ksm/run /run/initramfs/sys/kernel/mm/ksm/run; do (echo 1 >$f) 2>/dev/null && echo "$f can be written"; done; echo looked'`, "looked"},
	})

	const all = "halt kexec poweroff reboot"
	s.same(g, []answer{{orders, all}})
	s.run(g, stubborn)
	for _, again := range []bool{false, true} {
		s.run(g, "systemctl --no-block poweroff; until [ ! -e /run/initramfs/order/poweroff ]; do sleep 0.1; done")
		if again { // The order is known to a keeper that was not there.
			s.killed(g, keeperPID)
		}
		// The keeper asks meanwhile, and it changes nothing: there is nothing to wait for.
		time.Sleep(12 * time.Second)
		s.same(g, []answer{{orders, "halt kexec reboot"}, {"systemctl is-system-running || true", "stopping"}})
		s.run(g, "systemctl cancel; until [ -e /run/initramfs/order/poweroff ]; do sleep 0.5; done")
		s.keeperSays(g, "poweroff was cancelled")
	}
	s.same(g, []answer{{orders, all}})
	s.silent(g, "given up")

	// And the real end: the resident processes do not bring each other back.
	s.run(g, "systemctl kill --signal=KILL stubborn")
	s.shutsDown(g, "poweroff", PoweredOff)
	clean(t, host)
}
