// Java's HttpClient, which reads no environment. Run as source: java JavaHttpClient.java
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

class JavaHttpClient {
    public static void main(String[] args) throws Exception {
        var order = "{\"order\":\"" + args[1] + "\"}";
        var request = HttpRequest.newBuilder(URI.create(args[0]))
            .header("content-type", "application/json")
            .POST(BodyPublishers.ofString(order))
            .build();
        var answer = HttpClient.newHttpClient().send(request, BodyHandlers.ofString());
        System.out.println(answer.body());
        System.exit(answer.statusCode() / 100 == 2 ? 0 : 1);
    }
}
